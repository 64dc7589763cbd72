"""The page to listen to sounds and their resynthesis."""
