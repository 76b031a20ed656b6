"""What the trainers share and no model knows: runs, exact resume, precision, EMA, configuration."""
