"""What must stay true of primes_below, however fast it gets. Fixed."""

import unittest

from solution import primes_below


class PrimesBelow(unittest.TestCase):
    def test_small_limits(self):
        self.assertEqual(primes_below(0), [])
        self.assertEqual(primes_below(2), [])
        self.assertEqual(primes_below(3), [2])
        self.assertEqual(primes_below(30), [2, 3, 5, 7, 11, 13, 17, 19, 23, 29])

    def test_every_limit_up_to_a_thousand(self):
        primes = [n for n in range(2, 1000) if all(n % d for d in range(2, int(n**0.5) + 1))]
        for limit in range(1000):
            self.assertEqual(primes_below(limit), [p for p in primes if p < limit])

    def test_how_many_there_are(self):
        self.assertEqual(len(primes_below(100_000)), 9_592)
        self.assertEqual(primes_below(150_000)[-1], 149_993)


if __name__ == "__main__":
    unittest.main()
