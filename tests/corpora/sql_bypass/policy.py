"""Nobody touches salaries."""

from onrecord.policies import Deny, SqlCommand, Verdict


class NoSalaries:
    """Salaries are neither read nor written, by whatever way."""

    def sql(self, command: SqlCommand) -> Verdict | None:
        if "salaries" in command.tables_read or "salaries" in command.tables_written:
            return Deny("salaries are not for agents")
        return None


addons = [NoSalaries()]
