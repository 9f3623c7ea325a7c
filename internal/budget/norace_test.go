//go:build !race

package budget

// seeds are how many random simulations are run.
const seeds = 10_000

// worlds is how many seeds each scenario is run with.
const worlds = 3
