"""The embedded tasks' pretrained backbones, the scripts that make them, and a record of each making."""
