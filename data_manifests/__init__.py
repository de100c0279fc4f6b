"""What published data sets must contain: one TOML file each."""
