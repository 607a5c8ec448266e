#!/bin/sh -eu
# A child sends a dict, the parent prints it and answers with a set, and the child prints that.
#
#     parent_end, child_end = Pipe()
#     p = Process(target=talk, args=(child_end,)); p.start()
#     print('Parent got:', parent_end.recv())
#     parent_end.send({letter * 2 for letter in 'spam'})
#     p.join()
#     print('Parent ends')
. "$(dirname "$0")/setup.sh"

printf '%s\n' parent child | processes -f both-ways --workers 2 --share link=pipe:duplex
echo 'Parent ends'
