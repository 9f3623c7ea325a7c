package budget

import "time"

// State is a look at one account.
type State struct {
	// Credential names the account, as its first Ask did.
	Credential string
	// Limit is how many requests in a window it allows itself now; less than was
	// set while others use the same quota.
	Limit int
	// Available is how many slots are free.
	Available int
	// Waiting is how many wait, by class.
	Waiting [numClasses]int
	// BreakerOpen says, for each credential of the account, whether requests
	// with it are stopped because they fail, but for probes.
	BreakerOpen map[string]bool
}

// States returns a look at every account.
func (b *Budget) States() []State {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	states := make([]State, 0, len(b.accounts))
	for _, acct := range b.accounts {
		state := State{
			Credential:  acct.credential,
			Available:   acct.free(now),
			Limit:       acct.share.requests,
			BreakerOpen: map[string]bool{},
		}
		count := func(q *queue) {
			for class := range q.classes {
				state.Waiting[class] += q.classes[class].count
			}
		}
		count(acct.queue)
		for _, l := range acct.lanes {
			count(l.parked)
			open := acct.gate.obstacle == Unavailable || l.gate.obstacle == Unauthorized
			state.BreakerOpen[l.credential] = state.BreakerOpen[l.credential] || open
		}
		states = append(states, state)
	}
	return states
}
