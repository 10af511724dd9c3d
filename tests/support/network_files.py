"""Small network files in every format and dialect, and what it means for two models to be equal."""

import numpy as np

from graphs.parameters.bridge import tables_of

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

NET_DECISION = """net {}
node oil { states = ("dry" "wet"); }
decision drill { states = ("yes" "no"); label = "drill?"; }
utility profit { label = "money"; }
node Seen(well1,year2) { states = (a b); }
potential (oil) { data = (0.5 0.5); }
potential (drill | Seen(well1,year2)) { }
potential (Seen(well1,year2) | oil) { data = ((0.9 0.1) (0.2 0.8)); }
potential (profit | oil drill) { data = (((-70) (0)) ((200) (0))); }
"""

XDSL = """<?xml version="1.0" encoding="UTF-8"?>
<smile version="1.0" id="wells" numsamples="10000"><nodes>
<cpt id="oil"><state id="dry"/><state id="wet"/><probabilities>0.5 0.5</probabilities></cpt>
<cpt id="rig"><state id="a"/><state id="b"/><state id="c"/>
<probabilities>0.2 0.3 0.5</probabilities></cpt>
<cpt id="seen"><state id="no"/><state id="yes"/><parents>oil rig</parents>
<probabilities>0.9 0.1 0.8 0.2 0.7 0.3
0.4 0.6 0.25 0.75 0 1</probabilities></cpt>
<deterministic id="told"><state id="x"/><state id="y"/><parents>seen</parents>
<resultingstates>y x</resultingstates></deterministic>
</nodes><extensions><genie version="1.0" app="GeNIe 4.0" name="wells"/></extensions></smile>
"""

DSC = """belief network "wells"
node oil { name : "Oil?"; type : discrete[2] = { "dry", "wet" }; position : (1, 2); }
node rig { type : discrete [ 3 ] = { "a", "b", "c" }; }
node seen { type : discrete[2] = { "no", "yes" }; }
probability (oil) { 0.5, 0.5; }
probability ( rig ) { 0.2, 0.3, 0.5; }
probability ( seen | oil, rig ) {
  (0, 0) : 0.9, 0.1; (1, 0) : 0.4, 0.6;
  (0, 1) : 0.8, 0.2; // a comment
  default : 0.7, 0.3;
  (1, 2) : 0, 1;
}
"""

DSC_GENIE = """belief network "wells"

node oil
{
    type : discrete[3] =
    {
        "dry",
        "wet",
        "soaked"
    };
}

node seen
{
    type : discrete[2] =
    {
        "no",
        "yes"
    };
}

probability (oil)
{
    0.50000000, 0.25000000, 0.25000000;
}

probability (seen | oil)
{
    (0, 0) : 0.90000000, 0.10000000;
    (0, 0) : 0.40000000, 0.60000000;
    (0, 0) : 0.00000000, 1.00000000
    ;
}
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
