"""CEL, the Common Expression Language: conditions are parsed by its authors' parser and evaluated for JSON."""
