"""All primes below a limit. Make it faster; tests.py says what must stay true.

This is the file that is edited. The constants below carry their range in brackets, so that even the
offline proposer, which needs no language model, has something to turn.
"""

METHOD = "trial"    # how primes are found [trial | sieve | odd_sieve | segmented]
SEGMENT = 4096      # numbers sieved at a time, by "segmented" only [log 256..262144]


def primes_below(limit):
    """The primes p < limit, in increasing order, as a list of ints."""
    return METHODS[METHOD](limit)


# -----------------------------------------------------------------------------
# One number after the other: divide by every prime up to its square root.

def trial(limit):
    primes = []
    for number in range(2, limit):
        for prime in primes:
            if prime * prime > number:
                primes.append(number)
                break
            if number % prime == 0:
                break
        else:
            primes.append(number)
    return primes


# -----------------------------------------------------------------------------
# The sieve of Eratosthenes: cross out the multiples of each prime.

def sieve(limit):
    is_prime = [True] * max(limit, 2)
    is_prime[0] = is_prime[1] = False
    number = 2
    while number * number < limit:
        if is_prime[number]:
            for multiple in range(number * number, limit, number):
                is_prime[multiple] = False
        number += 1
    return [number for number in range(limit) if is_prime[number]]


# -----------------------------------------------------------------------------
# The same over odd numbers only, crossing out a whole slice at a time.

def odd_sieve(limit):
    if limit <= 2:
        return []
    is_prime = bytearray([1]) * (limit // 2)    # index i stands for 2 i + 1
    is_prime[0] = 0
    for i in range(1, (int(limit**0.5) + 1) // 2 + 1):
        if i < len(is_prime) and is_prime[i]:
            prime = 2 * i + 1
            start = prime * prime // 2
            is_prime[start::prime] = bytes(len(range(start, len(is_prime), prime)))
    return [2] + [2 * i + 1 for i in range(1, len(is_prime)) if is_prime[i]]


# -----------------------------------------------------------------------------
# A piece at a time, so that the table fits into a cache.

def segmented(limit):
    small = odd_sieve(int(limit**0.5) + 2)
    primes = [prime for prime in small if prime < limit]
    low = primes[-1] + 1 if primes else limit
    while low < limit:
        high = min(low + int(SEGMENT), limit)
        is_prime = bytearray([1]) * (high - low)
        for prime in small:
            if prime * prime >= high:
                break
            start = max(prime * prime, (low + prime - 1) // prime * prime) - low
            is_prime[start::prime] = bytes(len(range(start, high - low, prime)))
        primes += [low + i for i, prime in enumerate(is_prime) if prime]
        low = high
    return primes


METHODS = {"trial": trial, "sieve": sieve, "odd_sieve": odd_sieve, "segmented": segmented}
