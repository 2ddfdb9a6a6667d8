"""What people and other programs see of a job: progress, figures, reports."""
