//go:build !race

package budget

// seeds are how many random simulations are run.
const seeds = 10_000
