"""A sample of test/churn: what a thousand pods must not leave, sixty must not either."""
import pathlib
import sys

from harness.case import Case

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "churn"))

from churn import Churn  # noqa: E402


class ChurnTest(Case):
    def test_sixty_pods_some_failing_half_way_leave_nothing(self):
        self.only_belay()
        leases = self.env.leases()
        done, failures = Churn(self.env).run(60, 8)
        self.assertEqual([], failures)
        self.assertEqual(60, sum(done.values()))
        self.base.check(seconds=60)
        self.assertEqual(leases, self.env.leases())
