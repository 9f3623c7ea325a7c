//go:build race

package drift

// worlds are few, because the race detector slows simulations down tenfold.
const worlds = 50
