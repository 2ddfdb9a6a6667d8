"""The layouts of recordings: each recognises its own by what is in a folder."""
