"""What lies between a voice and a recording of it: noise, rooms, converters; batched torch, drawn by number."""
