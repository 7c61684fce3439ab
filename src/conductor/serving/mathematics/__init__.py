"""Check the answer to a mathematical problem without trusting, and without executing, anything that a model wrote.

`read` turns formulas into small trees, `asked` finds in the problem what was asked, `given` what was answered; `check` holds
them against each other by exact algebra (SymPy) and by evaluation in bounded precision (mpmath). No algorithm of unbounded
duration is used: nothing is solved, simplified, integrated or factored symbolically. A solution is put into its equation,
an antiderivative is differentiated, a value is computed.
"""
