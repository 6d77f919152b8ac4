"""One trainer, many participants: a board on the trainer's machine, and what each participant chose to send to it."""
