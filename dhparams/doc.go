// Package dhparams makes, reads, checks and writes parameters for Diffie-Hellman key exchange: a prime and a generator,
// in the PEM block "DH PARAMETERS" of PKCS #3. [Generate] searches for new ones, and [Duty] does so for a cluster;
// [Parse] reads and [Params.Check] judges what people bring; [Builtin] is a group of RFC 7919, for as long as a cluster
// has none of its own.
//
// It does not exchange keys. Go's own TLS has no use for such parameters; nginx does, with RSA certificates.
//
// # What is searched for
//
// A safe prime: a prime p for which q = (p-1)/2 is prime too. Then all numbers but 1 and p-1 have order q or 2q modulo
// p, and nothing is to be gained from small subgroups. Candidates are p = 23 modulo 24, that is q = 11 modulo 12:
//
//   - q is odd, so p = 3 modulo 4. Neither p nor q is a multiple of 3, so p = 2 modulo 3 (with p = 1, q would be).
//     That leaves p = 11 and p = 23 modulo 24.
//   - With p = 23, p = 7 modulo 8, and 2 is a square modulo p: it generates the subgroup of order q. With p = 11 it is
//     none and has order 2q, and whether a power of it is a square gives the lowest bit of its exponent away. So the
//     groups of RFC 2409 and RFC 7919 have p = 7 modulo 8, and OpenSSL 3 makes p = 23 modulo 24.
//
// By the conjecture of Hardy and Littlewood one candidate in ln p ln q / (12 C) is a safe prime, C = 0.66016: one in
// 63,000 at 1024 bits, in 1,000,000 at 4096 (see [Candidates]; the tests find as many).
//
// # How
//
// A window of four times so many candidates begins at a random place. A sieve strikes out those for which a prime up
// to a bound B divides p or q: both at once, as r divides the candidate i for two values of i modulo r. The large primes
// hit the window rarely; what they cost is the remainder of a long number modulo each, by Montgomery's reduction of
// two primes at a time, without a division for each word. Primes come from a segmented sieve that fits the cache,
// and are not kept. B is chosen so that a larger one costs more than it saves: for candidates left are in proportion to
// 1/ln² B, and the sieve's time to B/ln B, that is where B ln² B = 2 (ln q / e^γ)² t/c, with the measured times t of a
// test and c of a prime: about 2^21 at 1024 bits, 2^25 at 2048, 2^29 at 4096. One candidate in 86, 123 or 165 is left.
//
// Of these, q is tested first: 2^((q-1)/2) = ±1 modulo q, which is the strong test to base 2 as q = 3 modulo 4. One in
// 27 to 78 passes. Then p: 2^q = ±1 modulo p, which proves p prime if q is (Pocklington). Testing p with each q would
// only double the work. What passes both is tested by math/big, which shares no code with the search: Baillie-PSW and
// Miller-Rabin with random bases for q, Fermat's test for p.
//
// Nearly all of the time goes into powers of 2. They are squarings only, followed by a doubling where the exponent has a
// bit, which costs next to nothing; with windows of the exponent, as for other bases, there would be a quarter more
// multiplications. A processor with AVX-512 IFMA computes eight at once in Montgomery's form with 52-bit digits, in
// assembly (powers_amd64.s): measured, an eighth of the time that math/big takes for one, and a fifth of OpenSSL's.
// Elsewhere, and with the build tag purego, math/big does it. Measured on one processor, mean times at 1024, 2048 and
// 4096 bits: 0.06, 0.9 and 20 s; with math/big 0.3, 5 and 120 s; "openssl dhparam" 1.2, 20 and 520 s.
//
// Workers share one window, first the sieve and then the tests, so that more of them neither sieve more nor wait for
// each other. Memory is a bit for each candidate of the window (half a megabyte at 4096 bits, 8 at 16384) and about a
// megabyte for each worker.
package dhparams
