-- A subject's counts are beside the records: its id is in a record or an argument, so the key is made up here.
local function quota_key(epoch_key, subject, what)
  return string.sub(epoch_key, 1, -2) .. 'q:' .. subject .. ':' .. what
end
