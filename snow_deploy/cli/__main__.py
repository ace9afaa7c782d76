"""`python -m snow_deploy.cli` is the same as `snow-deploy`."""

from __future__ import annotations

from snow_deploy.cli import main

if __name__ == "__main__":
    main(prog_name="snow-deploy")
