"""Small network files in every format and dialect, and what it means for two models to be equal."""

import numpy as np

from graphs.pgmpy_bridge import tables_of

EXTENSIONS = [".bif", ".xmlbif", ".net"]

BIF = """network asia {
}
variable asia {
  type discrete [ 2 ] { yes, no };
}
variable tub {
  type discrete [ 2 ] { yes, no };
}
probability ( asia ) {
  table 0.01, 0.99;
}
probability ( tub | asia ) {
  (yes) 0.05, 0.95;
  (no) 0.01, 0.99;
}
"""

JAVABAYES = """
// Bayesian Network in the Interchange Format
network "Dog-Problem" { //5 variables and 5 probability distributions
\tproperty "credal-set; constant-density-bounded 1.1" ;
}
variable  "light-on" { //2 values
\ttype discrete[2] {  "true"  "false" };
\tproperty "position = (218, 195)" ;
}
variable "dog out" { type discrete [ 2 ] { "true" "false" }; }
variable family-out { property position = (257, 99) ; type discrete[ 3 ]{a,b/c,"d e, f"}; }
probability (  "light-on"  "family-out" "dog out" ) { //3 variable(s) and 12 values
\ttable 0.6 0.05 0.4 0.95 .25 2.5E-1
        0.4 0.95 0.6 0.05 0.75 75e-2 ;
}
/* a comment { of two
   lines } */
probability(family-out){table 0.15,0.8, 0.05;}
probability ("dog out"|family-out) { property "x;}" ; default 0.5 0.5; (b/c) 0.3,0.7 ; }
"""

NET = """net
{
  name = "asia";
}
node asia
{
  states = ("yes" "no");
}
node tub
{
  states = ("yes" "no");
}
potential (asia)
{
  data = (0.01 0.99);
}
potential (tub | asia)
{
  data = ((0.05 0.95)
          (0.01 0.99));
}
"""

HUGIN = """
net
{
    node_size = (80 40); % 50% of the page
    name = "chest; clinic";
}
discrete node A
{
    label = "Visit to \\"Asia\\"";
    position = (10 20);
    states = ("yes" "no way" );
    HR_Desc = "% no comment {";
}
potential (A) { data = (0.01 0.99); }
node B { states = (on, off); }
potential (B | A)
{
    data = (( 5e-2 0.95 )   %  A=yes
            ( 0.01 0.99 ));   % A=no way
}
"""

UAI = """BAYES
2
2 3
2
1 0
2 0 1

2
 0.25 0.75

6
 0.1 0.2 0.7
 0.3 0.3 0.4
"""

XML = """<?xml version="1.0"?>
<BIF VERSION="0.3">
<NETWORK>
<NAME>asia</NAME>
<VARIABLE TYPE="nature">
  <NAME>asia</NAME>
  <OUTCOME>yes</OUTCOME>
  <OUTCOME>no</OUTCOME>
</VARIABLE>
<VARIABLE TYPE="nature">
  <NAME>tub</NAME>
  <OUTCOME>yes</OUTCOME>
  <OUTCOME>no</OUTCOME>
</VARIABLE>
<DEFINITION>
  <FOR>asia</FOR>
  <TABLE>0.01 0.99</TABLE>
</DEFINITION>
<DEFINITION>
  <FOR>tub</FOR>
  <GIVEN>asia</GIVEN>
  <TABLE>
    0.05 0.95
    0.01 0.99
  </TABLE>
</DEFINITION>
</NETWORK>
</BIF>
"""

OLD_XML = """<?xml version="1.0" encoding="ISO-8859-1"?>
<!DOCTYPE BIF [ <!ELEMENT BIF ( NETWORK )*> <!ATTLIST BIF VERSION CDATA #REQUIRED> ]>
<bif version="0.15"><network>
<NAME>n</NAME><PROPERTY>author = me</PROPERTY>
<!-- a comment with a <NAME> -->
<VARIABLE><NAME>
   caf\u00e9 &amp; &#116;ea </NAME><VALUE>yes</VALUE><VALUE>no</VALUE></VARIABLE>
<PROBABILITY><FOR>caf\u00e9 &amp; tea</FOR><TABLE>0.25 <!-- yes --> 7.5e-1</TABLE></PROBABILITY>
</network></bif>
"""


def assert_same(left, right, names=True):
    """The same nodes, states, scopes and numbers, all in the same order."""
    left, right = tables_of(left), tables_of(right)
    if names:
        assert list(left.states.items()) == list(right.states.items())
        assert [scope for scope, _ in left.factors] == [scope for scope, _ in right.factors]
    assert left.directed == right.directed
    for (_, a), (_, b) in zip(left.factors, right.factors, strict=True):
        assert np.array_equal(a, b)
