package controller

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

// budgetGroups knows which keys share one organization's quota: those in the
// Secrets of one group, and every copy of them in other Secrets.
type budgetGroups struct {
	groups [][]types.NamespacedName

	mu   sync.Mutex
	seed string                                               // "" before begin
	keys map[types.NamespacedName]map[opencx.Fingerprint]bool // in each Secret of a group
}

// of returns the group of a key that was found in source, nil for the
// environment; zero when the key is in none.
func (g *budgetGroups) of(source *SecretKey, key opencx.Fingerprint) budget.Key {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, members := range g.groups {
		if source != nil && slices.Contains(members, source.NamespacedName) {
			g.learn(source.NamespacedName, key) // it may have been rotated a moment ago
			return g.id(members)
		}
	}
	for _, members := range g.groups {
		for _, member := range members {
			if g.keys[member][key] {
				return g.id(members)
			}
		}
	}
	return budget.Key{}
}

// id stands for a group as a digest stands for a key.
func (g *budgetGroups) id(members []types.NamespacedName) budget.Key {
	names := []string{g.seed}
	for _, member := range members {
		names = append(names, member.String())
	}
	slices.Sort(names[1:])
	return sha256.Sum256([]byte(strings.Join(names, ",")))
}

func (g *budgetGroups) learn(secret types.NamespacedName, key opencx.Fingerprint) {
	if g.keys == nil {
		g.keys = map[types.NamespacedName]map[opencx.Fingerprint]bool{}
	}
	if g.keys[secret] == nil {
		g.keys[secret] = map[opencx.Fingerprint]bool{}
	}
	g.keys[secret][key] = true
}

// refresh learns which keys a Secret of a group holds now. Other Secrets are
// not read, and none before begin.
func (g *budgetGroups) refresh(ctx context.Context, secrets client.Reader, name types.NamespacedName) error {
	if !slices.ContainsFunc(g.groups, func(members []types.NamespacedName) bool { return slices.Contains(members, name) }) {
		return nil
	}
	var secret corev1.Secret
	if err := secrets.Get(ctx, name, &secret); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading Secret %s of a budget group: %w", name, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.seed == "" {
		return nil
	}
	delete(g.keys, name)
	for _, value := range secret.Data {
		if key, err := opencx.NewAPIKey(string(value)); err == nil {
			g.learn(name, key.Fingerprint(g.seed))
		}
	}
	return nil
}

// begin learns all groups. A Secret that cannot be read is learnt when a contact
// uses it.
func (g *budgetGroups) begin(ctx context.Context, seed string, secrets client.Reader) {
	g.mu.Lock()
	g.seed = seed
	g.mu.Unlock()
	for _, members := range g.groups {
		for _, member := range members {
			if err := g.refresh(ctx, secrets, member); err != nil {
				log.FromContext(ctx).Error(err, "Copies of this key elsewhere are not known to share its budget yet")
			}
		}
	}
}
