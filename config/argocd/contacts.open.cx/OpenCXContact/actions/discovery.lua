local actions = {}
actions["reconcile"] = {
  -- While spec.suspend is true, nothing is sent.
  ["disabled"] = obj.spec.suspend == true
}
return actions
