package budget

import "time"

// State is a look at one account.
type State struct {
	// Organization is whose account it is.
	Organization string
	// Limit is how many requests in a window it allows itself now; less than was
	// set while others use the same quota.
	Limit int
	// Available is how many slots of the window are free. Whether one may be used now depends
	// on more.
	Available int
	// Waiting is how many wait, by class.
	Waiting [numClasses]int
	// Obstacle is why nobody may send, but for probes.
	Obstacle Obstacle
	// Until is when the next probe may go; the zero time without an Obstacle.
	Until time.Time
	// BreakerOpen says that the circuit breaker is open, whatever else is in the way.
	BreakerOpen bool
	// DrainsAt is roughly when the last who waits will be served; the zero time when
	// nobody waits but bystanders.
	DrainsAt time.Time
}

// Look returns a look at an organization's account, which is empty while nobody
// uses it.
func (b *Budget) Look(organization string) State {
	b.mu.Lock()
	defer b.mu.Unlock()
	if acct := b.accounts[organization]; acct != nil {
		return acct.look(time.Now())
	}
	return State{Organization: organization}
}

// States returns a look at every account that is in use.
func (b *Budget) States() []State {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	states := make([]State, 0, len(b.accounts))
	for _, acct := range b.accounts {
		states = append(states, acct.look(now))
	}
	return states
}

func (a *account) look(now time.Time) State {
	state := State{Organization: a.name, Available: a.free(now), Limit: a.share.requests, Obstacle: a.obstacle(), BreakerOpen: a.breaker.isOpen()}
	for class := range a.queue.classes {
		state.Waiting[class] = a.queue.classes[class].len
	}
	if state.Obstacle != None {
		state.Until = latest(a.silence.until, a.breaker.until)
	}
	if a.queue.len > a.queue.bystanders {
		state.DrainsAt = a.drainsAt(now)
	}
	return state
}

// obstacle is what is in the way of all who wait, as OpenCX told.
func (a *account) obstacle() Obstacle {
	if a.silence.on() {
		return RateLimited
	}
	return a.breaker.obstacle
}

// obstacle is what is in the way of an account's askers.
func (b *Budget) obstacle(acct *account) Obstacle {
	switch told := acct.obstacle(); {
	case told != None:
		return told
	case b.unsaved && acct.reserves && acct.reserved().left == 0:
		return Unsaved
	case b.unproven.waits(acct):
		return Unproven
	}
	return None
}
