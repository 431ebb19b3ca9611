"""What free text says: sentences, cues, slots, and how two claims lie to each other."""
