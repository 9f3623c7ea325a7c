package main

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	watchtools "k8s.io/client-go/tools/watch"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

const (
	// lookInterval is the shortest time between two looks at what OpenCX has.
	lookInterval = time.Minute
	// edited is the contact that somebody edits in OpenCX.
	edited = "jane-doe"
)

// repair edits a contact in the simulator as a person does in OpenCX, and says what the
// operator does about that. It is an error when the contact is not put right within
// checkTimeout after the look that finds the edit.
func (d *demo) repair(ctx context.Context, say func(line string)) error {
	watcher, err := client.NewWithWatch(d.controlPlane.Config, client.Options{Scheme: d.controlPlane.Scheme})
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	// Who only reads now and then misses Drifted True, which lasts as long as a PATCH.
	watching, err := watcher.Watch(ctx, &v1alpha1.OpenCXContactList{}, client.InNamespace(metav1.NamespaceDefault), client.MatchingFields{"metadata.name": edited})
	if err != nil {
		return fmt.Errorf("watching the contact: %w", err)
	}
	defer watching.Stop()
	d.simulator.Edit(d.samples[edited], func(c *opencxtest.Contact) {
		if data, is := c.Fields["custom_data"].(map[string]any); is {
			data["plan"] = "free"
		}
	})
	due, err := d.lookOften(ctx)
	if err != nil {
		return err
	}
	wait := max(0, time.Until(due))
	say(fmt.Sprintf("Somebody edits %s in OpenCX: customData.plan is \"free\" now. The operator asks OpenCX once a minute what has changed, next in %s.",
		edited, wait.Round(time.Second)))

	ctx, cancel := context.WithTimeout(ctx, wait+checkTimeout)
	defer cancel()
	becomes := func(reason string) watchtools.ConditionFunc {
		return func(event watch.Event) (bool, error) {
			contact, is := event.Object.(*v1alpha1.OpenCXContact)
			if !is || event.Type == watch.Deleted {
				return false, fmt.Errorf("the contact is %s", event.Type)
			}
			drifted := meta.FindStatusCondition(contact.Status.Conditions, v1alpha1.DriftedCondition)
			if drifted == nil || drifted.Reason != reason {
				return false, nil
			}
			say(fmt.Sprintf("%s: Drifted %s, %s: %s", edited, drifted.Status, drifted.Reason, drifted.Message))
			return true, nil
		}
	}
	if _, err := watchtools.UntilWithoutRetry(ctx, watching, becomes(v1alpha1.FieldsDifferReason), becomes(v1alpha1.RepairedReason)); err != nil {
		return fmt.Errorf("the edit in OpenCX of %s was not put right: %w", edited, err)
	}
	return nil
}

// lookOften has the operator look at what OpenCX has as often as it can, and returns when
// it does next.
func (d *demo) lookOften(ctx context.Context) (time.Time, error) {
	organization, err := d.organization(ctx)
	if err != nil {
		return time.Time{}, err
	}
	before := organization.DeepCopy()
	organization.Spec.DriftCheckInterval = &metav1.Duration{Duration: lookInterval}
	if err := d.controlPlane.Client.Patch(ctx, organization, client.MergeFrom(before)); err != nil {
		return time.Time{}, fmt.Errorf("setting the organization's driftCheckInterval: %w", err)
	}
	return nextLook(organization), nil
}

// nextLook is when the operator next asks OpenCX what has changed, in the past when the
// organization does not say.
func nextLook(organization *v1alpha1.OpenCXOrganization) time.Time {
	since, interval := organization.CreationTimestamp, ptr.Deref(organization.Spec.DriftCheckInterval, metav1.Duration{})
	if swept := organization.Status.Sweep; swept != nil && swept.LastTime != nil {
		since = *swept.LastTime
	}
	return since.Add(interval.Duration)
}
