"""Build the product from its settings and run it: the only package that names concrete classes, and where rooms meet.

`lifetime` begins and ends everything and is where to start reading. One module builds one part, each from those before it:
`foundation`, `fleet`, `execution`, `record`, `minds`, `use_cases`. `listening` tells the parts of each other's news, and
`background` is what goes on by itself.
"""

from conductor.app.compose.lifetime import running as running
