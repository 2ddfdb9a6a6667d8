"""The shared geometry core: transforms, camera models, least squares. No files, no pictures, no printing."""
