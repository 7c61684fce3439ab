"""What this machine is and how it is: probes that find devices, and sensors that are read each second."""
