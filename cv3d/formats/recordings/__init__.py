"""What recordings of other tools hold beside their pictures: lists with time stamps, calibration, poses."""
