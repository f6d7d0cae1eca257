"""The Hugging Face hub and ModelScope: what a name means, what is fetched, and where it lies in the local cache."""
