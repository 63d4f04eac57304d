"""Publishing finished runs on the Hugging Face Hub."""
