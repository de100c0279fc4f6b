"""The one sentence that every output for people carries."""

NOT_A_MEDICAL_DEVICE = "Research use only. Not a medical device: not for diagnosis, not for decisions about patients."
