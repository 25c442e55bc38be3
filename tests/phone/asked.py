"""What a phone is asked and told while it is measured, and having it say something else."""

from __future__ import annotations

from tests.phone.phone import Phone

READ = ("dumpsys battery", "dumpsys thermalservice", "settings get global low_power")
ASKED = "settings get global stay_on_while_plugged_in"
FIXED = "cmd power set-fixed-performance-mode-enabled"
SET = [ASKED, "svc power stayon true", ASKED, f"{FIXED} true", "dumpsys deviceidle force-idle"]
LASTING_BACK = ["settings put global stay_on_while_plugged_in 0"]
BACK = [*LASTING_BACK, f"{FIXED} false", "dumpsys deviceidle unforce"]
HELD = ("stay awake", "fixed performance mode", "forced idle")


def says(phone: Phone, name: str, old: str, new: str) -> None:
    """Have the phone say something else in one of its answers."""
    path = phone.root / "stand-in" / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def told(phone: Phone) -> list[str]:
    """Return what the phone was told to do."""
    return [line for line in (phone.root / "stand-in/told").read_text().splitlines() if line not in READ]
