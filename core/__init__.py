"""What every room shares and no model knows: errors in one line, atomic files, model folders, the process."""
