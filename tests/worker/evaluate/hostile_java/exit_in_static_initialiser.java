// expect: failed
// Ends the machine before main begins.
class Problem {
    static {
        System.exit(0);
    }

    public static void main(String[] args) {
        assert false;
    }
}
