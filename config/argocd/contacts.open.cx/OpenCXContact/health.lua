-- The health of an OpenCXContact or OpenCXOrganization, told by its conditions.
local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
local ready = conditions.Ready or {status = "Unknown"}
local function is(condition)
  return conditions[condition] ~= nil and conditions[condition].status == "True"
end

-- observedGeneration is -1 before the operator has looked for the first time. What the
-- conditions say of an older generation is told only while the operator works on this one.
if status.observedGeneration ~= obj.metadata.generation then
  local message = "The operator has not dealt with this generation yet"
  if is("Reconciling") then
    message = ready.message
  end
  return {status = "Progressing", message = message}
end
if is("Stalled") then
  return {status = "Degraded", message = ready.message}
end
if ready.status == "True" then
  return {status = "Healthy", message = ready.message}
end
if ready.reason == "Suspended" then
  return {status = "Suspended", message = ready.message}
end
return {status = "Progressing", message = ready.message}
