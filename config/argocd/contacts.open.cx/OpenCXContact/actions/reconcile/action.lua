-- Any new value makes the operator send the contact to OpenCX once more.
local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["contacts.open.cx/reconcile-at"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
