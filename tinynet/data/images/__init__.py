"""Images in files and in folders of them."""
