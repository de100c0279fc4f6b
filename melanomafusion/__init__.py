"""Learn from skin-lesion images together with patient metadata: join, fold, fuse, ensemble, score honestly.

Public names are loaded when first used, so `import melanomafusion` is quick and loads neither TensorFlow nor pandas.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "melanomafusion.auditing.audit": ("Audit", "audit"),
    "melanomafusion.baselines.handcrafted": ("handcrafted_features",),
    "melanomafusion.baselines.metadata": ("metadata_baseline",),
    "melanomafusion.baselines.svm": ("svm_baseline",),
    "melanomafusion.data.combine": ("concat", "find_overlaps"),
    "melanomafusion.data.dataset": ("Dataset",),
    "melanomafusion.data.duplicates": ("drop_duplicates", "read_duplicates", "verify_duplicates"),
    "melanomafusion.data.fold_files": ("read_competition_folds", "read_folds", "write_folds"),
    "melanomafusion.data.folds": ("assign_folds", "published_split"),
    "melanomafusion.data.imbalance": ("class_weights", "imbalance_report"),
    "melanomafusion.data.manifest": ("list_manifests", "verify"),
    "melanomafusion.data.metadata": ("MetadataEncoder",),
    "melanomafusion.data.metadata_features": ("list_features",),
    "melanomafusion.data.sources.csv_table": ("load_csv",),
    "melanomafusion.data.sources.ham10000": ("load_ham10000",),
    "melanomafusion.data.sources.image_folders": ("load_image_folders",),
    "melanomafusion.data.sources.images": ("load_images",),
    "melanomafusion.data.sources.isic_2019": ("load_isic_2019",),
    "melanomafusion.data.sources.isic_archive": ("load_isic_archive",),
    "melanomafusion.data.sources.siim_isic_2020": ("load_siim_isic_2020",),
    "melanomafusion.data.sources.tfrecords": ("load_tfrecords",),
    "melanomafusion.deploy.bundle": ("Bundle",),
    "melanomafusion.deploy.bundling": ("write_ensemble_bundle",),
    "melanomafusion.deploy.compression": ("compress_onnx",),
    "melanomafusion.deploy.ensemble_bundle": ("EnsembleBundle",),
    "melanomafusion.deploy.litert": ("export_litert",),
    "melanomafusion.deploy.onnx_export": ("export_onnx",),
    "melanomafusion.deploy.prediction": ("Prediction",),
    "melanomafusion.deploy.predictor": ("Predictor",),
    "melanomafusion.ensemble.averages": (
        "GeometricMeanEnsemble",
        "LogitMeanEnsemble",
        "MeanEnsemble",
        "PowerMeanEnsemble",
        "RankMeanEnsemble",
    ),
    "melanomafusion.ensemble.catalogue": ("read_ensemble",),
    "melanomafusion.ensemble.diagnostics": ("Diagnosis", "diagnose"),
    "melanomafusion.ensemble.files": ("write_diagnosis",),
    "melanomafusion.ensemble.intervals": ("nested_interval",),
    "melanomafusion.ensemble.scales": ("rank_scores",),
    "melanomafusion.ensemble.stacking": ("StackingEnsemble", "with_metadata"),
    "melanomafusion.ensemble.weighted": ("WeightedEnsemble",),
    "melanomafusion.errors": ("MelanomaFusionError", "PredictionsWarning"),
    "melanomafusion.evaluation.calibration": ("Calibrator",),
    "melanomafusion.evaluation.comparison": ("Comparison", "compare"),
    "melanomafusion.evaluation.decisions": ("confusion_matrix", "net_benefit", "threshold_metrics"),
    "melanomafusion.evaluation.intervals": ("Interval", "auc_difference", "auc_interval", "wilson_interval"),
    "melanomafusion.evaluation.metrics": (
        "average_precision",
        "partial_auc",
        "roc_auc",
        "sensitivity_at_specificity",
        "specificity_at_sensitivity",
    ),
    "melanomafusion.evaluation.multiclass": ("multiclass_metrics",),
    "melanomafusion.evaluation.history_plot": ("plot_history",),
    "melanomafusion.evaluation.plots": (
        "plot_calibration",
        "plot_decision_curve",
        "plot_precision_recall",
        "plot_roc",
        "save_figure",
    ),
    "melanomafusion.evaluation.table_plots": (
        "plot_confusion_matrix",
        "plot_member_correlation",
        "plot_member_curve",
        "plot_subgroups",
    ),
    "melanomafusion.evaluation.probabilities": (
        "brier_score",
        "calibration_intercept",
        "calibration_slope",
        "expected_calibration_error",
        "log_loss",
    ),
    "melanomafusion.evaluation.result": ("Evaluation",),
    "melanomafusion.evaluation.summary": ("evaluate",),
    "melanomafusion.evaluation.thresholds": ("OperatingThreshold", "choose_threshold", "operating_threshold"),
    "melanomafusion.explain.attribution": ("Attribution", "attribute"),
    "melanomafusion.explain.contact_sheet": ("write_contact_sheet",),
    "melanomafusion.explain.explanation": ("Explainer", "Explanation"),
    "melanomafusion.explain.gradcam": ("build_gradcam_model", "gradcam"),
    "melanomafusion.explain.panel": ("plot_explanation",),
    "melanomafusion.images.pipeline": ("inference_pipeline", "training_pipeline"),
    "melanomafusion.images.preparation": ("Preparation",),
    "melanomafusion.images.prepare": ("prepare",),
    "melanomafusion.images.prepared": ("Prepared", "image_spec", "load_prepared"),
    "melanomafusion.images.spec": ("ImageSpec",),
    "melanomafusion.models.backbones": ("list_backbones",),
    "melanomafusion.models.cost": ("backbone_cost",),
    "melanomafusion.models.efficientnet_weights": ("import_efficientnet_weights",),
    "melanomafusion.models.fusion_model": ("build_fusion_model",),
    "melanomafusion.notice": ("NOT_A_MEDICAL_DEVICE",),
    "melanomafusion.predictions": ("Predictions", "align", "read_members"),
    "melanomafusion.recipes.catalogue": ("get_recipe", "list_recipes"),
    "melanomafusion.recipes.plan": ("EnsemblePlan", "get_plan"),
    "melanomafusion.recipes.recipe": ("Recipe",),
    "melanomafusion.recipes.stage": ("Stage",),
    "melanomafusion.training.cross_validation": ("cross_validate", "predict_run"),
    "melanomafusion.training.estimate": ("Estimate", "estimate_cost"),
    "melanomafusion.training.plan": ("TrainedPlan", "train_plan"),
    "melanomafusion.training.pseudo_labels": ("pseudo_label",),
    "melanomafusion.execution.local": ("LocalExecutor",),
    "melanomafusion.execution.ray": ("RayExecutor",),
    "melanomafusion.training.status": ("run_status",),
    "melanomafusion.training.fit": ("fit_fold",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__version__ = "0.1.0"
__all__ = sorted(_HOME_OF)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'melanomafusion' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
