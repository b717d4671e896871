// expect: failed
// Turns assertions off for a class that is not initialised yet.
class Before {
    static {
        ClassLoader loader = Before.class.getClassLoader();
        loader.setClassAssertionStatus("Problem", false);
        loader.setPackageAssertionStatus("", false);
        loader.setDefaultAssertionStatus(false);
        loader.clearAssertionStatus();
    }
}

class Problem extends Before {
    public static void main(String[] args) {
        assert 1 + 1 == 3;
    }
}
