"""The local Hub: a folder of model folders, served as the Hugging Face Hub serves its models."""
