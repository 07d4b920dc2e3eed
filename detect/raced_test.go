//go:build race

package detect_test

// raced says that the race detector is on: it allocates, and empties pools at random.
const raced = true
