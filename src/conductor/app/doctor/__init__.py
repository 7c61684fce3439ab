"""What an installation and its models need and lack, with the command that helps."""
