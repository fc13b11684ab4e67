/** Words of generated names: short, plain, and none that could offend beside another. */
export const ADJECTIVES: readonly string[] =
  'able agile amber ample apt azure balmy bold brave brisk bright broad calm candid cheery civil clean clear clever coastal cool coral cosy crisp curious daring deft eager early earnest easy even fair famed fast fine firm fleet fond frank free fresh gentle glad golden good grand green handy happy hardy hearty honest humble ideal jolly jovial keen kind lively loyal lucid lucky mellow merry mild modest neat nimble noble northern open patient placid plain polite prime prompt proud pure quick quiet ready regal rapid ruddy sage serene sharp silent silver smart smooth snug solid sound southern spry stable steady stout sturdy sunny sure swift tidy tranquil true trusty upbeat valiant vivid warm wary western whole wise witty worthy zesty'.split(
    ' ',
  )
export const NOUNS: readonly string[] =
  'albatross anchor barge bay beacon bell berth boom bosun bow brig buoy cable canvas capstan cargo chart clipper cleat coast compass cove crane current cutter davit deck delta dinghy dock dory dune eddy ferry fjord fleet foam frigate galley gannet gull gunwale halyard harbor hatch haven helm heron hull inlet island jetty jib junk keel kelp ketch knot lagoon lantern launch ledger lighthouse locker lugger mast mooring narwhal oar otter pelican petrel pier pilot plank port prow puffin quay raft reef rigging rope rudder sail schooner seal sextant shoal shore skerry skiff sloop sound spar spray starboard stern strait tern tide tiller timber trawler tug vessel voyage wake walrus wharf whistle winch yacht yawl'.split(
    ' ',
  )
