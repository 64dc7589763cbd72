"""The live page as a folder of static files: voices, pictures and networks work in the browser, without Python."""
