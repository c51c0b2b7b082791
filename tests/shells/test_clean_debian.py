"""The clean Debian in which installing, upgrading and removing are tested."""

import pytest

from tests.peers import clean_debian


def test_what_is_written_in_one_is_in_no_other():
    with clean_debian.running() as one, clean_debian.running() as other:
        one.run("echo mine > /etc/mine")
        assert one.path("/etc/mine").read_text() == "mine\n"
        assert not other.path("/etc/mine").exists()
    assert not (clean_debian.base() / "etc/mine").exists()


def test_its_network_is_its_own_and_the_kernel_is_not_to_be_changed():
    with clean_debian.running() as machine:
        assert machine.run("grep -c : /proc/net/dev", network=False) == "1\n"  # lo
        assert machine.run("hostname") == "clean\n"
        with pytest.raises(clean_debian.Failed, match="Read-only file system"):
            machine.run("echo 1 > /proc/sys/kernel/core_uses_pid")


def test_systemd_boots_in_it():
    with clean_debian.running(systemd=True) as machine:
        assert machine.run("systemctl is-system-running") == "running\n"
        machine.run("systemd-run --unit=mine --property=User=nobody sleep 1000")
        assert machine.run("systemctl show --property=MainPID --value mine").strip() != "0"
