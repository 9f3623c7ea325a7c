//go:build !race

package drift

// worlds is how many random worlds are run.
const worlds = 1000
