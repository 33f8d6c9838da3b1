"""Makes new lines from templates, which are the files beside the code. Knows no broker and no worker."""
