"""What the pages share: modules of JavaScript, style, templates, and what puts them together."""
