//go:build race

package budget

// seeds are few, because the race detector slows simulations down tenfold.
const seeds = 200
